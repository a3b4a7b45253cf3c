"""Take texts apart that people write numbers with."""
