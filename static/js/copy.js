// A button that copies a text; without a script it is not there, and the text can be selected.

for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const said = document.getElementById(button.dataset.said);
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      said.textContent = button.dataset.copied;
    } catch {
      // Not allowed to, or the page came by plain http: select it for the person instead.
      getSelection().selectAllChildren(source);
      said.textContent = button.dataset.selected;
    }
  });
}
