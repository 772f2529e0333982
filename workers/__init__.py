"""The Celery application: its queues, its configuration, and the life of its processes."""
