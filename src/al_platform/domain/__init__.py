"""What active learning is: no I/O, no Kedro, no torch, no tracker."""
