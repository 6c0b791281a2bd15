"""The server that Label Studio asks: it pre-annotates, answers clicks, and starts the next round.

app            routes, errors                     services      what the house lends it, and its limits
served         threads; what each route does      guards        who may come in
bodies         what Label Studio sends            metrics       what is counted, and what takes how long

clicks         the rules of clicks: begin here    pictures      whose pixels a task means
prompts        what was clicked                   fetching      addresses that may be asked, and how
regions        what is there to be edited         local_files   files below one folder
memory         what is remembered of it           warming       the next tasks, ahead of the clicks
preannotation  many tasks at once                 hints, jobs   webhooks, and the rounds that they start
"""
