"""The embedded demonstration: recordings of people that nobody filmed, in the files of real sets."""
