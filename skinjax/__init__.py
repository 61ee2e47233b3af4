"""Does adding images from a GAN help a skin-lesion classifier?"""

__version__ = "0.1.0"
