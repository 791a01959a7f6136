"""What every submitter does, with its real SDK against the emulator; another SDK joins by a parameter.

The command lines are the users' own, so that what is proven here is what they get.
"""
