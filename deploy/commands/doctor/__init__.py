"""What is ready for a first day on AWS, and what is not: looks only, and changes nothing."""
