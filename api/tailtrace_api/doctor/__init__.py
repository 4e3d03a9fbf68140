"""`tailtrace doctor`: checks of the whole path, each with what to do."""
