"""Device, checkpoints, schedules, optimizer, logging and seeding."""
