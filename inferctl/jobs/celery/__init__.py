"""What tells those who do jobs, on whichever machine, which there are: Celery, with ids alone.

What a job is, and what became of it, is in our own keys (`inferctl/jobs/redis`). A message that is
lost, late or doubled changes nothing: the sweeper sends ids again, and a job is claimed once.
Nothing here is made before a worker was forked.
"""
