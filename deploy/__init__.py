"""How Reweigh is run: the local stack, images and manifests."""
