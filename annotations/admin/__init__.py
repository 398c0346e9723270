"""The records for those who run campaigns; importing this registers them all."""

from annotations.admin import campaigns, library, people, snapshots, tasks, uploads

__all__ = ["campaigns", "library", "people", "snapshots", "tasks", "uploads"]
