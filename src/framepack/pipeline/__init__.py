"""From a plan to a video. Read ``generate`` first: it is the algorithm.

conditions   encode texts and pictures once
history      the latents that later sections look back on
denoise      one section, from noise to latents
decode       latents to final frames, holding only the seam
workspace    the run directory: stop at any moment, go on later
deliver      segments to the finished (or partial) video
preview      a small picture of a section in the making
statistics   where time and memory went
durable, run_lock   files and locks that survive a kill
components, device  the loaded networks and where they run
"""
