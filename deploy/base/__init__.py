"""What everything stands on: errors, output, settings, and the clients of AWS and programs."""
