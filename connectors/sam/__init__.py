"""The networks of the SAM family: their parts, called one by one; nothing of any predictor.

first     SAM and MobileSAM, as Meta and Ultralytics build them alike
second    SAM 2 and 2.1: finer features go round the bottleneck
third     SAM 3's interactive head, which has the structure of the second
decoding  the mask decoder of all of them, for many prompts of one image
two_way   the transformer inside it
"""
