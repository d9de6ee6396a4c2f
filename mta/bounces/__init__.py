"""Delivery status notifications: what we tell a submitter about a delivery that failed or is late."""
