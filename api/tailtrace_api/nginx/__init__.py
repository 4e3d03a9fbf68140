"""nginx: its include files, and a process of it for the demo and the tests."""
