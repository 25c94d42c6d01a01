"""What charl did and why: doctor, and views of the caches."""
