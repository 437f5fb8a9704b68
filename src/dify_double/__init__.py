"""simulated Dify: a contract double of the console API and the service API of 1.16.1, standard library only, run on a
lab host.

Written from the recorded exchanges and from what the real one was seen to do; what it does not imitate is one table,
`dify_double.not_imitated.NOT_IMITATED`. A replay of every recorded exchange holds it to the rest.
"""
