"""The embedded demonstration: recordings of people nobody filmed, in the files of real sets."""
