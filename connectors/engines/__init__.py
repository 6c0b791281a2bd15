"""Engines: what runs an image encoder. PyTorch as it comes, or one that is quicker on this processor.

candidates    one way each of running a module, and where it can be had
choice        the quickest that still gives the same encodings, found by a short measurement and remembered
"""
