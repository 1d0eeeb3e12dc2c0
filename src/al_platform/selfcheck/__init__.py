"""The 28 checks of the ML Test Score (Breck et al. 2017), graded by what lies in the stores."""
