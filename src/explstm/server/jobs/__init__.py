"""Long work: jobs, where they are kept, and the processes that do them."""
