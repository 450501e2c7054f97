"""What a homework is: `assignment` loads one, `template` cuts it from its solution, `release` hands it out, `restore`
gives a submitted notebook its locked cells back."""
