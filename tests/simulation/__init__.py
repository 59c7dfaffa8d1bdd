"""The deterministic simulation: the product's own code in virtual time, where one seed decides everything."""
