# %% [markdown]
# # From your own images to a verdict
#
# This file is a notebook: editors that support `# %%` cells (VS Code, PyCharm,
# Spyder, Jupyter with Jupytext) run it cell by cell, and
#
#     python docs/tutorial.py
#
# runs all of it, in about three minutes on two cores, from the project's
# directory or a folder in it. It needs only what requirements.txt installs. It
# writes to `runs/tutorial` there, and keeps existing files.

# %%
import json
import pathlib
import sys

# An editor may run cells in docs/: the project is in a folder above that.
sys.path.extend(map(str, (pathlib.Path.cwd(), *pathlib.Path.cwd().parents)))

import numpy as np

import skinjax
from configs import study, synthesize
from skinjax.run import run
from skinjax.runtime import command_line
from tfds_ham10000.toy_lesions import drawing, lesions

HERE = pathlib.Path("runs/tutorial")
command_line.show_progress()

# %% [markdown]
# ## 1. Your images
#
# A folder with a table that has one row per image: its class, and the lesion or
# patient that it shows (its group). Images of one group are never divided
# between training and test, or the test would be too easy. (If each image shows
# a different lesion, one folder per class is enough, without a table.)
#
# The images here are drawn by a program, and are not real lesions; replace them
# by yours.

# %%
IMAGES = HERE / "images"
COUNTS = {"nv": 90, "mel": 60, "bkl": 60}  # lesions, two pictures of each


def draw_images():
  """Draw pictures of lesions, and write the table."""
  IMAGES.mkdir(parents=True, exist_ok=True)
  rows = ["image,label,group"]
  found = [
    lesion for lesion in lesions.invent_lesions(0) if lesion.dx in COUNTS
  ]
  for name, count in COUNTS.items():
    of_class = [lesion for lesion in found if lesion.dx == name][:count]
    for number, lesion in enumerate(of_class):
      for view in range(2):
        file = f"{name}_{number}_{view}.png"
        seed = [ord(name[0]), number]
        picture = drawing.draw_lesion(lesion.look, 32, seed, [*seed, view])
        picture.save(IMAGES / file)
        rows.append(f"{file},{name},{name}_{number}")
  (IMAGES / "images.csv").write_text("\n".join(rows) + "\n")


if not (IMAGES / "images.csv").exists():
  draw_images()

# %% [markdown]
# ## 2. The study
#
# A config is a function of a short text; every key of the returned config may
# be changed. `quick` makes everything small enough for a tutorial. For a real
# answer, leave it out: the GAN is then trained long enough, and classifiers are
# pretrained on ImageNet.
#
# The study trains a GAN on the training images, generates the images that the
# arms need, trains classifiers with and without them, chooses the arms to
# compare on validation images, and then evaluates on the test images, once.

# %%
config = study.get_config("dataset=folder,size=32,quick")
config.data.folder = str(IMAGES)
config.arms = ("classical", "capped_25")
summary = run(config, HERE / "study")

# %%
verdict = summary["verdict"]
print(verdict["headline"])
print(
  f"Balanced accuracy changes by {verdict['value']:+.3f}, "
  f"95% interval {verdict['low']:+.3f} to {verdict['high']:+.3f}"
)
print(f"Open {HERE / 'study/report/index.html'} in a browser.")

# %% [markdown]
# The interval is wide, as there are few test images. The page reports which
# difference this study could have detected.
#
# ## 3. The generator's images
#
# A trained generator is loaded from its directory. It needs no data set.

# %%
gan = HERE / "study/split/generator"  # for the fixed split; else fold0, …
generator = skinjax.load_generator(gan)
images = generator.sample(list(COUNTS), seed=0)
print(images.shape, images.dtype, generator.class_names)

# %% [markdown]
# The same generator can write a folder of PNG files, by class, with a sheet:

# %%
drawn = synthesize.get_config("dataset=folder")
drawn.generator = str(gan)
run(drawn, HERE / "drawn")
print(f"Look at {HERE / 'drawn/sheet.png'}.")

# %% [markdown]
# ## 4. Another generator
#
# Images of any other generator can be used in a folder like the one above, with
# one folder per class. Set `config.synthetic` to its path; then no GAN is
# trained. The folder must record what its generator was trained on: the study
# refuses images of a generator that has seen test images. For a generator that
# is trained elsewhere, `configs/split.py` lists the images that it may be
# trained on, and writes the record. skinjax's own folders have it already:

# %%
origin = json.loads((HERE / "drawn/synthetic/provenance.json").read_text())
print(len(origin["trained_on"]["groups"]), "groups were seen in training")

other = study.get_config("dataset=folder,size=32,quick")
other.data.folder = str(IMAGES)
other.arms = ("classical", "capped_25")
other.synthetic = str(HERE / "drawn/synthetic")
print(run(other, HERE / "study_of_a_folder")["verdict"]["headline"])

# %% [markdown]
# ## 5. A trained classifier
#
# Each unit of a study is a trained classifier. All but those of the network
# `head`, which `load_classifier` cannot read, can be loaded.

# %%
network = config.networks[-1]
unit = next((HERE / "study/split/units").glob(f"{network}-classical-*"))
classifier = skinjax.load_classifier(unit)
probabilities = classifier.predict(images)
for name, row in zip(COUNTS, probabilities, strict=True):
  print(f"asked for {name}: {classifier.class_names[int(np.argmax(row))]}")
