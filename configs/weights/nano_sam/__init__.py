"""How the weights of `nano_sam` are made.

examples    scenes, drawn on the fly and disturbed
people      what a person would say about an object: a first prompt, and clicks on what is wrong
lessons     what the network is told about its answers
training    the whole course, which can be stopped and taken up again
figures     what the weights can do, through the port
"""
