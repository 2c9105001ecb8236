"""What dialects share whose answers come in one piece and say nothing that is billed: vectors, rankings, verdicts."""
