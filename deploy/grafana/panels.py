"""Building blocks of the dashboards: panels, columns, variables, and a layout that cannot overlap."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# The shares at which the alert rules warn and page: a panel turns colour when they fire.
PORTS = (0.7, 0.9)
CONNTRACK = (0.75, 0.9)
QUEUE = (0.7, 0.9)
ANY = (1, None)


def steps(limits=None):
    """Threshold steps: green, yellow from the first limit, red from the second."""
    found = [{"color": "green", "value": None}]
    for limit, color in zip(limits or (), ("yellow", "red")):
        if limit is not None:
            found.append({"color": color, "value": limit})
    return {"mode": "absolute", "steps": found}


def query(expr, legend="", table=False):
    """One target; tables and single numbers want the latest value only."""
    target = {"datasource": DATASOURCE, "expr": " ".join(expr.split()), "legendFormat": legend}
    if table:
        target |= {"instant": True, "range": False, "format": "table"}
    else:
        target |= {"instant": False, "range": True, "format": "time_series"}
    return target


def panel(kind, title, description, queries, width, height, unit, limits=None, **more):
    for index, target in enumerate(queries):
        target["refId"] = chr(ord("A") + index)
    defaults = {"unit": unit, "thresholds": steps(limits), "noValue": more.pop("empty", "no data")}
    defaults |= more.pop("defaults", {})
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": queries,
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
        "options": more.pop("options", {}),
        **more,
    }


def stat(title, description, expr, unit, limits=None, width=4, **more):
    options = {
        "colorMode": "value" if limits else "none",
        "graphMode": "area",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }
    defaults = {"color": {"mode": "thresholds"}, **more.pop("defaults", {})}
    return panel(
        "stat", title, description, [query(expr)], width, 4, unit, limits,
        options=options, defaults=defaults, **more,
    )


def lines(title, description, queries, unit, limits=None, width=12, height=8, stack=False, dashed=(), **more):
    """A time series; names matching `dashed` are limits and peaks, not measurements of their own."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if stack else 5,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if limits else "off"},
    }
    dash = {"fill": "dash", "dash": [8, 6]}
    overrides = [
        {
            "matcher": {"id": "byRegexp", "options": pattern},
            "properties": [
                {"id": "custom.lineStyle", "value": dash},
                {"id": "custom.fillOpacity", "value": 0},
                {"id": "custom.stacking", "value": {"mode": "none", "group": "limit"}},
            ],
        }
        for pattern in dashed
    ]
    options = {
        "legend": {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["lastNotNull", "max"],
                   "sortBy": "Max", "sortDesc": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    defaults = {"color": {"mode": "palette-classic"}, "custom": custom, "min": 0, **more.pop("defaults", {})}
    return panel(
        "timeseries", title, description, queries, width, height, unit, limits,
        options=options, defaults=defaults, overrides=overrides, **more,
    )


def column(expr, title, unit="short", limits=None):
    return {"expr": expr, "title": title, "unit": unit, "limits": limits}


def table(title, description, columns, sort, width=24, height=9, link=None, **more):
    """One row for each set of labels that the columns share; `sort` is the title to sort by.

    `link` is a field and the address it leads to."""
    queries = [query(each["expr"], table=True) for each in columns]
    names, overrides = {}, []
    for index, each in enumerate(columns):
        # With one query alone Grafana calls its column plainly "Value".
        names["Value" if len(columns) == 1 else f"Value #{chr(ord('A') + index)}"] = each["title"]
        properties = [{"id": "unit", "value": each["unit"]}]
        if each["limits"]:
            properties += [
                {"id": "thresholds", "value": steps(each["limits"])},
                {"id": "custom.cellOptions", "value": {"type": "color-text"}},
            ]
        overrides.append({"matcher": {"id": "byName", "options": each["title"]}, "properties": properties})
    if link:
        field, url = link
        links = [{"title": "Host in depth", "url": url}]
        overrides.append({"matcher": {"id": "byName", "options": field}, "properties": [{"id": "links", "value": links}]})
    transformations = [{"id": "merge", "options": {}}] if len(columns) > 1 else []
    transformations.append({"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}})
    return panel(
        "table", title, description, queries, width, height, "short",
        options={"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": sort, "desc": True}]},
        defaults={"custom": {"align": "auto", "filterable": True}},
        overrides=overrides, transformations=transformations, **more,
    )


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": 24, "h": 1}}


def place(panels):
    """Left to right, and on to the next line where the width of 24 is used up."""
    x = y = tallest = 0
    for number, each in enumerate(panels, start=1):
        grid = each["gridPos"]
        if x + grid["w"] > 24:
            x, y, tallest = 0, y + tallest, 0
        each["id"] = number
        each["gridPos"] = {"h": grid["h"], "w": grid["w"], "x": x, "y": y}
        x, tallest = x + grid["w"], max(tallest, grid["h"])
    return panels


def datasource_variable():
    return {
        "type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus",
        "hide": 0, "includeAll": False, "multi": False, "options": [], "refresh": 1, "regex": "", "current": {},
    }


def variable(name, definition, description, many=False, first=None, listed=False):
    """A variable filled by a query; one value, or any number of them with All to begin with.

    `listed`: All means the values found and no others, which suits a label that other exporters have too."""
    current = {"selected": True, "text": ["All"], "value": ["$__all"]} if many else {}
    if first:
        current = {"selected": True, "text": first, "value": first}
    found = {
        "type": "query", "name": name, "label": name, "description": description, "datasource": DATASOURCE,
        "definition": definition, "query": {"query": definition, "refId": name, "qryType": 1},
        "hide": 0, "includeAll": many, "multi": many, "options": [], "refresh": 2, "regex": "", "sort": 1,
        "current": current,
    }
    # Without it an "All" of thousands of hosts would be spelled out in every query.
    return found | {"allValue": ".*"} if many and not listed else found


def dashboard(uid, title, description, variables, panels, links):
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["sockdiag"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": links,
        "templating": {"list": [datasource_variable(), *variables]},
        "panels": place(panels),
        "version": 1,
    }
