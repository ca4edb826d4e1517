// What ipywidgets leaves out and no Python can add. Where scripts do not run, all else still works.
// Radio buttons of one name are one stop of the Tab key, and arrow keys move between them: these
// keys JupyterLab must not take. A status that stays in the page while its text changes is read out
// once for each text. A button with an icon alone needs a name.
window.aetherFusion ??= (() => {
  const each = (selector, action) => document.querySelectorAll(`.aether${selector}`).forEach(action);
  const set = (name, value) => (element) => element.setAttribute(name, value);
  const complete = () => {
    each(" :is(button, input, select)", set("data-lm-suppress-shortcuts", "true"));
    each(" .aether-status:not([role])", set("role", "status"));
    each(" .widget-play button:not([aria-label])", set("aria-label", "Play or pause"));
    each(" .widget-radio", (group) => {
      group.dataset.name ??= `aether-${Math.random()}`;
      group.querySelectorAll("input:not([name])").forEach(set("name", group.dataset.name));
    });
  };
  complete();
  new MutationObserver(complete).observe(document.body, {childList: true, subtree: true});
  return true;
})();
