"""The door for what comes back: bounces, feedback reports, letters to postmaster and abuse. Nothing else gets in."""
