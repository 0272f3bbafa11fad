//! Sets of policies: faults, and who may do what.
