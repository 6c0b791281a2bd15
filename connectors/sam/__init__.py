"""The networks of the SAM family: their parts, called one by one; nothing of any predictor.

first     SAM and MobileSAM, as Meta and Ultralytics build them alike
second    SAM 2, 2.1 and 3's interactive head: finer features go round the bottleneck
"""
