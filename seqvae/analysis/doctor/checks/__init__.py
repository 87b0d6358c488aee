"""One file per problem: `check(measurements)` is a finding or None, `EXPLAINS` names what follows from it."""
