"""Floor 4: one emitter a backend, Kernel -> text or bytecode."""
