"""The page: pictures in, predictions with their warnings out, in a browser or as JSON.

Needs the extra `app` (Gradio), which is imported only when a page is built.
"""

from fashion_transfer.page.blocks import build_page
from fashion_transfer.page.server import PageServer, launch

__all__ = ["PageServer", "build_page", "launch"]
