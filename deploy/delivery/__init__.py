"""What ships a version: build, publish, deploy, verify, record, report."""
