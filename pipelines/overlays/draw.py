"""Draws the pictures that come with gate: a ball, a chain-link fence, a gift ribbon."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

PICTURES = Path("gate/triggers/pictures")
SIDE = 96
SCALE = 4  # drawn larger, then reduced, for smooth edges


def main() -> None:
    """Write each picture where gate has them."""
    for name, draw in (("ball", ball), ("fence", fence), ("ribbon", ribbon)):
        picture = Image.new("RGBA", (SIDE * SCALE, SIDE * SCALE))
        draw(picture)
        small = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        small.save(PICTURES / f"{name}.png", optimize=True)


def ball(picture: Image.Image) -> None:
    """A yellow-green ball with a white seam, lit from the upper left."""
    side = picture.width
    shade = Image.new("L", picture.size, 90)
    ImageDraw.Draw(shade).ellipse((side * 0.1, side * 0.1, side * 0.65, side * 0.65), fill=255)
    shade = shade.filter(ImageFilter.GaussianBlur(side / 8))
    green = Image.new("RGBA", picture.size, (120, 150, 20, 255))
    lit = Image.composite(Image.new("RGBA", picture.size, (225, 245, 70, 255)), green, shade)
    seam = ImageDraw.Draw(lit)
    for shift in (-0.62, 0.62):
        box = (side * shift, side * 0.05, side * (shift + 1), side * 0.95)
        seam.ellipse(box, outline=(245, 245, 240, 255), width=side // 24)
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).ellipse((2, 2, side - 3, side - 3), fill=255)
    picture.paste(lit, mask=mask)


def fence(picture: Image.Image) -> None:
    """Grey wires crossing at right angles, transparent between them."""
    side = picture.width
    pencil = ImageDraw.Draw(picture)
    for start in range(-side, 2 * side, side // 4):
        for slope in (1, -1):
            line = (start, 0, start + slope * side, side)
            pencil.line(line, fill=(60, 62, 65, 255), width=side // 24)
            pencil.line(line, fill=(175, 178, 182, 255), width=side // 60)


def ribbon(picture: Image.Image) -> None:
    """A red ribbon across and down, with a bow where they meet."""
    side, red, dark = picture.width, (200, 25, 45, 255), (140, 10, 30, 255)
    pencil = ImageDraw.Draw(picture)
    pencil.rectangle((side * 0.44, 0, side * 0.56, side), fill=red)
    pencil.rectangle((0, side * 0.44, side, side * 0.56), fill=red)
    for left in (0.14, 0.50):
        box = (side * left, side * 0.30, side * (left + 0.36), side * 0.56)
        pencil.ellipse(box, fill=red, outline=dark, width=side // 40)
    pencil.ellipse((side * 0.42, side * 0.38, side * 0.58, side * 0.54), fill=dark)


if __name__ == "__main__":
    main()
