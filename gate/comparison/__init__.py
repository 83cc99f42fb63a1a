"""A candidate against the champion that it would replace: evidence in, differences out.

Pure, as `decide` is: no files, no clock, no measuring. It judges nothing: what is acceptable only a
policy says.
"""
