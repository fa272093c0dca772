"""What is asked, what is planned, what is said. No torch, no heavy imports.

Read ``request`` (the question), ``packing`` and ``schedule`` (the geometry), ``plan`` (the
answer to "what exactly will be computed"), then ``events`` (what a run tells while it works).
"""
