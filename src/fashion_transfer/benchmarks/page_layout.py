"""What is wrong with how a page looks, measured in the browser itself."""

LAYOUT_DEFECTS = r"""() => {
  const defects = [];
  // A phone zooms out for a page that is too wide: its screen stays as it is.
  const width = Math.min(document.documentElement.clientWidth, screen.width);
  const excerpt = text => text.trim().replace(/\s+/g, ' ').slice(0, 60);
  const describe = node => {
    const classes = [...node.classList].slice(0, 3).map(name => '.' + name).join('');
    return `${node.tagName.toLowerCase()}${classes} "${excerpt(node.textContent)}"`;
  };
  const visible = node => node.checkVisibility({opacityProperty: true, visibilityProperty: true});
  // A text for screen readers alone is clipped to nothing, or to one pixel.
  const forReaders = node => {
    for (let at = node; at; at = at.parentElement) {
      const style = getComputedStyle(at), box = at.getBoundingClientRect();
      if (style.overflow !== 'visible' && (box.width <= 1 || box.height <= 1)) return true;
      if (style.clipPath !== 'none') return true;
      if (style.clip !== 'auto' && style.position === 'absolute') return true;
    }
    return false;
  };
  const scrolls = value => value === 'auto' || value === 'scroll';

  const needed = document.documentElement.scrollWidth;
  if (needed > width) defects.push(`scrolls sideways: ${needed} > ${width} px`);

  // The boxes of all words that can be seen.
  const words = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const parent = text.parentElement;
    if (!text.data.trim() || !parent || parent.closest('script, style, noscript, option')) continue;
    if (!visible(parent) || forReaders(parent)) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const boxes = [...range.getClientRects()].filter(box => box.width > 1 && box.height > 1);
    if (boxes.length) words.push({parent, text: text.data, boxes});
  }

  const cut = new Set();
  for (const {parent, text, boxes} of words) {
    for (const box of boxes) {
      if (box.left < -1 || box.right > width + 1)
        defects.push(`beyond the window: "${excerpt(text)}"`);
      for (let at = parent; at && at !== document.body; at = at.parentElement) {
        const style = getComputedStyle(at), inside = at.getBoundingClientRect();
        const sideways = style.overflowX !== 'visible' && !scrolls(style.overflowX) &&
          (box.right > inside.right + 1 || box.left < inside.left - 1);
        const down = style.overflowY !== 'visible' && !scrolls(style.overflowY) &&
          (box.bottom > inside.bottom + 2 || box.top < inside.top - 2);
        if ((sideways || down) && !cut.has(at)) {
          cut.add(at);
          defects.push(`cut off: "${excerpt(text)}" in ${describe(at)}`);
        }
      }
    }
  }

  for (const image of document.images) {
    if (!visible(image) || forReaders(image)) continue;
    const box = image.getBoundingClientRect();
    if (box.left < -1 || box.right > width + 1) defects.push(`beyond the window: ${image.alt}`);
    if (!image.naturalWidth) defects.push(`not drawn: ${image.alt}`);
    if (!image.hasAttribute('alt')) defects.push(`no alt text: ${image.src.slice(0, 60)}`);
  }

  // Words over words. Lines that only touch do not count.
  const boxes = words.flatMap(({parent, text, boxes}) => boxes.map(box => ({parent, text, box})));
  boxes.sort((a, b) => a.box.top - b.box.top);
  for (let i = 0; i < boxes.length; i++) {
    for (let j = i + 1; j < boxes.length && boxes[j].box.top < boxes[i].box.bottom; j++) {
      const a = boxes[i].box, b = boxes[j].box;
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && high > 0.35 * Math.min(a.height, b.height))
        defects.push(`overlap: "${excerpt(boxes[i].text)}" and "${excerpt(boxes[j].text)}"`);
    }
  }

  // Contrast of WCAG 2.2 (1.4.3): 4.5, or 3 for large letters.
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const draw = canvas.getContext('2d', {willReadFrequently: true});
  const luminance = () => {
    const [r, g, b] = [...draw.getImageData(0, 0, 1, 1).data].slice(0, 3).map(value => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paint = colour => { draw.fillStyle = colour; draw.fillRect(0, 0, 1, 1); };
  const seen = new Set();
  for (const {parent, text} of words) {
    if (seen.has(parent) || parent.closest('[disabled], [aria-disabled=true]')) continue;
    seen.add(parent);
    const above = [];
    for (let at = parent; at; at = at.parentElement) above.unshift(at);
    paint(matchMedia('(prefers-color-scheme: dark)').matches ? 'black' : 'white');
    let picture = false, opacity = 1;
    for (const at of above) {
      const style = getComputedStyle(at);
      paint(style.backgroundColor);
      const covers = /^rgb\(/.test(style.backgroundColor);
      picture = style.backgroundImage !== 'none' || (picture && !covers);
      opacity *= Number(style.opacity);
    }
    if (picture) continue;  // a gradient or a picture below: for people to judge
    const below = luminance(), style = getComputedStyle(parent);
    draw.globalAlpha = opacity;
    paint(style.color);
    draw.globalAlpha = 1;
    const letters = luminance();
    const ratio = (Math.max(below, letters) + 0.05) / (Math.min(below, letters) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5))
      defects.push(`contrast ${ratio.toFixed(1)}: "${excerpt(text)}" in ${describe(parent)}`);
    if (size < 11) defects.push(`letters of ${size} px: "${excerpt(text)}"`);
  }
  return [...new Set(defects)];
}"""
"""A function without arguments: returns a list of defects, each a short text.

It looks for sideways scrolling; words and pictures beyond the window, or cut off by what they are
in; words over words; pictures without an alt text; too little contrast; tiny letters.
"""
