"""What may cross a subject: wire messages, the job record and the job's lifecycle. No I/O."""
