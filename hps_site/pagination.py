"""How the lists of the API are cut into pages."""

from rest_framework.pagination import CursorPagination


class NewestFirst(CursorPagination):
    """Pages that neither skip nor repeat a row when new ones arrive meanwhile."""

    ordering = "-id"
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000
