"""What tests share: installations in temporary folders, real Squids, helper processes."""
