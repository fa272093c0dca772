"""Work on finished videos, and downloads: tasks that are kept, each done by a process of its own.

Nothing here imports torch: only the process that does a task may, see ``worker``.
"""
