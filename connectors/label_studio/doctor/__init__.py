"""What `pipeline doctor` looks at, from the server to a click.

examination   the order           patient   who is examined
server        token, release      project   labels and predictions
images        storage and size    backend   its way to us, its webhook, one click
advisories    known weaknesses of releases
"""
