"""gunicorn for streams: gunicorn -c gunicorn.conf.py minimal_flask:app. README.md says why."""

bind = "127.0.0.1:8000"
worker_class = "gthread"
workers = 2  # processes, for the processors; a MemoryLog and a conversation without a store are of one process
threads = 64  # of each process: a stream holds a thread for as long as it lasts
timeout = 30  # seconds without a sign of life of a whole process, not of a reply: a gthread worker gives one meanwhile
graceful_timeout = 60  # seconds that replies have to end after a deploy's SIGTERM; then they are cut
keepalive = 5  # seconds that an idle connection of the proxy is kept
backlog = 512  # connections that wait for a thread
