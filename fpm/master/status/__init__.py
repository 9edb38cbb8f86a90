"""What the master tells those who look: snapshots, answers, and the process that serves them."""
