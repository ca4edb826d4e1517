"""How the widgets look: a style sheet inside each, as ipywidgets cannot say all of it in Python.

Owns: `STYLE`. Behind the widgets. Sizes are for the last row of a classroom: no letter is smaller
than 14 pixels on a page of 1280 by 800.
"""

STYLE = """<style>
.aether { --jp-widgets-font-size: 16px; --jp-widgets-inline-height: 34px;
  --jp-widgets-inline-label-width: 112px; --jp-widgets-inline-width: 400px;
  font-size: 16px; padding: 4px 6px 10px; overflow: visible }
.aether img { image-rendering: pixelated; object-fit: contain }
.aether .widget-button, .aether .jupyter-button { font-size: 16px; height: 38px;
  line-height: 36px; border-radius: 6px }
.aether button:focus-visible { outline: 3px solid #2563eb; outline-offset: 1px }
.aether-title { font-size: 20px; font-weight: 600; line-height: 30px }
.aether-columns { flex-flow: row wrap; gap: 26px; overflow: visible }
.aether-columns > *, .aether-left > * { overflow: visible }
.aether-right { flex: 1 1 572px; min-width: min(572px, 100%); overflow: visible }
.aether-pair { gap: 10px; overflow: visible }
.aether .widget-toggle-buttons { display: flex; flex-flow: row nowrap; align-items: center }
.aether .widget-toggle-buttons > .widget-label { width: 112px; text-align: right;
  margin-right: 8px }
.aether .widget-toggle-buttons button { padding: 0 4px; height: 34px; line-height: 32px;
  margin-bottom: 6px }
.aether-left { width: 440px; flex: none; overflow: visible }
.aether-bar, .aether-bar .progress { height: 12px; min-height: 12px }
.aether-go, .aether-stop, .aether-save { margin-top: 8px }
.aether-note { font-size: 15px; line-height: 22px; min-height: 22px; white-space: normal }
.aether-wrong { font-size: 16px; line-height: 22px; padding: 6px 10px; color: #7f1d1d;
  background: #fee2e2; border-left: 5px solid #b91c1c; white-space: normal }
.aether-lost { display: none; font-size: 16px; line-height: 22px; padding: 6px 10px;
  color: #7f1d1d; background: #fee2e2; border-left: 5px solid #b91c1c }
.aether.jupyter-widgets-disconnected > .aether-lost { display: block }
.aether.jupyter-widgets-disconnected > :not(.aether-lost) { opacity: 0.4 }
.aether.jupyter-widgets-disconnected::before, .aether .jupyter-widgets-disconnected::before {
  content: none !important }
.aether-code input { font-family: var(--jp-code-font-family, monospace); font-size: 14px }
.aether-cards { display: grid; grid-template-columns: repeat(5, 84px); gap: 4px;
  overflow: visible }
.aether-card { position: relative; width: 84px; height: 96px; overflow: visible }
.aether-card img { width: 68px; height: 68px; margin: 5px 8px 0; border-radius: 5px }
.aether-card button { position: absolute; inset: 0; width: 84px !important;
  height: 96px !important; margin: 0; padding: 72px 0 0; line-height: 20px !important;
  font-size: 14px !important; text-align: center; background: transparent !important;
  color: inherit; box-shadow: none !important; border: 3px solid transparent; overflow: visible }
.aether-card button:hover { border-color: #9ca3af }
.aether-card button.mod-active { border-color: #c2410c; font-weight: 700;
  color: inherit !important }
.aether-sheet { position: relative; margin: 2px; overflow: visible }
.aether-sheet > img { margin: 0; flex: none }
.aether-cells { position: absolute; inset: 0; display: grid; overflow: hidden; margin: 0 }
.aether-cells button { width: auto !important; height: auto !important; min-width: 0;
  margin: 0 !important; padding: 0; background: transparent !important; border-radius: 0;
  box-shadow: none !important; border: 0; font-size: 0 !important }
.aether-cells button:hover { border: 2px solid #fdba74 }
.aether-names { display: flex; font-size: 15px; line-height: 24px; text-align: center }
.aether-names > div { flex: 1; overflow: visible }
.aether-scales { display: flex; flex-flow: column; font-size: 15px; text-align: right }
.aether-scales > div { flex: 1; display: flex; align-items: center; justify-content: flex-end;
  padding-right: 10px }
</style>"""
