"""simulated Dify as a Compose stack: a release archive and images, real PostgreSQL, Redis, nginx and squid around the
double.

Only Dify's own images (api, worker, web, plugin daemon, sandbox) and weaviate are stand-ins; what they do not imitate
is `dify_double.not_imitated.NOT_IMITATED`. Releases differ in what a migration does to the database, as upgrades do.
"""
