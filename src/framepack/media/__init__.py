"""Pictures in, video files out: the only layer that reads or writes media.

images    load, fit and convert pictures
segments  encode each frame once into segments, join them without encoding again
video     the door for callers: probe, read frames, and the names of the other files
metadata  the document inside a video: request, hashes, the fitted input pictures
sheets    thumbnails, contact sheets, animated pictures
drift     sharpness, contrast, colour and motion along a video
filters   frames through ffmpeg's filters
clips     finished videos cut, joined and put into another time
files     atomic writing, checks of paths
"""
